-- name: start
select id, school, her_id, his_id from public.start_smoke_test(%(actor)s)

-- name: end
-- Of one trial; how many people were erased.
select public.end_smoke_tests(%(trial)s, %(actor)s)
