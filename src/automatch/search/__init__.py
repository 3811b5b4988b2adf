"""From an embedding to matches: the similarity scale, and the candidates of a batch's searches.

Who may match whom and the result of every search are SQL (`find_similar_faces_filtered`,
`complete_match_jobs`), so that a worker, an SQL editor and a Supabase function all agree. Python
knows the similarity scale, and finds the candidates when many jobs search one group at once.
"""

from automatch.search.similarity import DLIB, SimilarityScale

__all__ = ["DLIB", "SimilarityScale"]
