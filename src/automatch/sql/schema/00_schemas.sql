-- The two schemas, and pgvector.

create schema if not exists extensions;
create extension if not exists vector with schema extensions;

create schema automatch;
comment on schema automatch is 'Internals of Auto-Match. What apps and operators may use is in public.';
