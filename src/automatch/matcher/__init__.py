"""Decide: from an embedding to matches.

Who may match whom, the search and the writing of matches are SQL (`find_similar_faces_filtered`,
`complete_match_job`), so that a worker, an SQL editor and a Supabase function all agree. Here is
what Python needs of it: the similarity scale.
"""

from automatch.matcher.similarity import DLIB, SimilarityScale

__all__ = ["DLIB", "SimilarityScale"]
