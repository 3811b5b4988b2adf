"""Decide: what a cosine of two embeddings means.

Who may match whom and the search itself are SQL (`find_similar_faces_filtered`,
`complete_match_jobs`), so that a worker, an SQL editor and a Supabase function all agree. Python
knows the similarity scale.
"""

from automatch.matcher.similarity import DLIB, SimilarityScale

__all__ = ["DLIB", "SimilarityScale"]
