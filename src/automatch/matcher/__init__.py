"""Decide: from an embedding to matches.

Who may match whom and the search itself are SQL (`find_similar_faces_filtered`,
`complete_match_job`), so that a worker, an SQL editor and a Supabase function all agree. Python
says when, and knows the similarity scale.
"""

from automatch.matcher.matching import keep_face, match_face
from automatch.matcher.similarity import DLIB, SimilarityScale

__all__ = ["DLIB", "SimilarityScale", "keep_face", "match_face"]
