-- The SQL of the deployment guide, block by block, in its order and to the letter.

-- name: verify_migration
-- Deployment, step 1.
-- In Supabase SQL Editor
SELECT * FROM cron.job WHERE jobname IN ('process-match-jobs', 'cleanup-match-jobs');

-- name: set_url
-- Deployment, step 2.
-- Update the pg_cron job with your actual project URL
SELECT cron.unschedule('process-match-jobs');

SELECT cron.schedule(
  'process-match-jobs',
  '* * * * *',
  $$
  SELECT
    net.http_post(
      url := 'https://YOUR_PROJECT_REF.supabase.co/functions/v1/match-generator',
      headers := jsonb_build_object(
        'Content-Type', 'application/json',
        'Authorization', 'Bearer ' || current_setting('app.settings.service_role_key')
      ),
      body := jsonb_build_object('source', 'pg_cron', 'triggered_at', now())
    ) as request_id;
  $$
);

-- name: set_key
-- Deployment, step 3.
-- Run this in Supabase SQL Editor
ALTER DATABASE postgres
SET app.settings.service_role_key TO 'YOUR_SERVICE_ROLE_KEY_HERE';

-- Verify it's set
SELECT current_setting('app.settings.service_role_key');

-- name: job_queued
-- Test 1.
SELECT * FROM match_jobs ORDER BY created_at DESC LIMIT 5;

-- name: status_changed
-- Test 2.
-- Check job status changed
SELECT id, status, created_at, completed_at
FROM match_jobs
ORDER BY created_at DESC
LIMIT 5;

-- name: matches_created
-- Test 2.
-- Check matches were created
SELECT * FROM matches
WHERE face_a_id IN (SELECT face_id FROM match_jobs ORDER BY created_at DESC LIMIT 1)
   OR face_b_id IN (SELECT face_id FROM match_jobs ORDER BY created_at DESC LIMIT 1);

-- name: monitoring
-- Monitoring, all of it.
-- Job queue statistics
SELECT status, COUNT(*) as count
FROM match_jobs
GROUP BY status;

-- Recent jobs
SELECT
  id,
  status,
  attempts,
  created_at,
  completed_at,
  completed_at - created_at as processing_time
FROM match_jobs
ORDER BY created_at DESC
LIMIT 10;

-- Failed jobs (for debugging)
SELECT * FROM match_jobs
WHERE status = 'failed'
ORDER BY created_at DESC;

-- Average processing time
SELECT
  AVG(EXTRACT(EPOCH FROM (completed_at - created_at))) as avg_seconds
FROM match_jobs
WHERE status = 'completed'
  AND completed_at IS NOT NULL;

-- pg_cron job status
SELECT * FROM cron.job;

-- pg_cron run history
SELECT * FROM cron.job_run_details
ORDER BY start_time DESC
LIMIT 20;

-- name: stuck
-- Troubleshooting: jobs stuck in 'pending'.
-- Check pg_cron job exists
SELECT * FROM cron.job WHERE jobname = 'process-match-jobs';

-- Check service role key is set
SELECT current_setting('app.settings.service_role_key');

-- Manually trigger Edge Function to test
SELECT net.http_post(
  url := 'https://YOUR_PROJECT.supabase.co/functions/v1/match-generator',
  headers := jsonb_build_object('Content-Type', 'application/json')
);

-- name: why_failed
-- Troubleshooting: the function returns 500.
SELECT id, error_message FROM match_jobs WHERE status = 'failed';

-- name: no_matches
-- Troubleshooting: no matches.
SELECT school, gender FROM profiles WHERE id = 'USER_ID';

-- Check how many potential matches exist
SELECT COUNT(*) FROM profiles
WHERE school = 'UIT'
  AND gender = 'female'
  AND profile_type = 'user';

-- name: every_30_seconds
-- Tuning. The body of the job is left out in the guide.
-- Process jobs every 30 seconds (instead of 60)
SELECT cron.unschedule('process-match-jobs');
SELECT cron.schedule(
  'process-match-jobs',
  '*/30 * * * * *',  -- Every 30 seconds (uses seconds field)
  $$ ... $$
);

-- name: lower_threshold
-- Tuning. No SQL, though the guide's block says so.
-- In Edge Function or SQL function
match_threshold: 0.4  -- 40% similarity (more lenient)

-- name: higher_threshold
-- Tuning. No SQL, though the guide's block says so.
match_threshold: 0.65  -- 65% similarity (stricter)

-- name: vector_search
-- Tuning. Corrected: no pgvector takes the first statement, and there is no such index to drop.
-- Increase HNSW index parameters for faster search
ALTER INDEX faces_embedding_hnsw_idx SET (ef_search = 100);

-- Or rebuild with better parameters
DROP INDEX faces_embedding_hnsw_idx;
CREATE INDEX faces_embedding_hnsw_idx
ON faces USING hnsw (embedding vector_cosine_ops)
WITH (m = 32, ef_construction = 128);

-- name: more_often
-- Scaling. Part of a statement.
'*/30 * * * * *'  -- Every 30 seconds

-- name: several_workers
-- Scaling. The guide leaves out what they do.
-- Schedule multiple workers
SELECT cron.schedule('process-match-jobs-1', ...);
SELECT cron.schedule('process-match-jobs-2', ...);
