-- name: start
select trial_id as id, school, her_id, his_id from public.start_trial(%(actor)s)

-- name: end
-- Of one trial; how many people were erased.
select public.end_trials(%(trial)s, %(actor)s)
