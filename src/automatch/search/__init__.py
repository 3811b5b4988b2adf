"""Decide: what a cosine of two embeddings means, and who may be among the best of a group.

Who may match whom and the answer of every search are SQL (`find_similar_faces_filtered`,
`finish_match_jobs`), so that a worker, an SQL editor and a Supabase function all agree. Python
knows the similarity scale, and narrows a group down to a shortlist when many jobs search it at
once.
"""

from automatch.search.similarity import DLIB, SimilarityScale

__all__ = ["DLIB", "SimilarityScale"]
