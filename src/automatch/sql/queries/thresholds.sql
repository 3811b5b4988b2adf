-- name: load
select threshold, match_count, photos, rerun_left from public.get_match_threshold()

-- name: set
select public.set_match_threshold(%(threshold)s, %(rerun)s, %(actor)s)

-- name: preview
select threshold, people, looked_at, matches, median_matches, without_any
from public.preview_match_thresholds(
    %(thresholds)s, %(midpoint)s, %(width)s, p_simulated => %(simulated)s
)

-- name: enqueue_reruns
select public.enqueue_reruns(%(most)s)
