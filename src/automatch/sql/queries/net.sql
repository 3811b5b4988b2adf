-- name: take_requests
-- Deleted before they are sent: in a crash a request is lost rather than sent twice.
delete from net.http_request_queue
where id = any (
    array(select q.id from net.http_request_queue as q order by q.id limit %(limit)s for update skip locked)
)
returning
    id, method, url,
    case when jsonb_typeof(headers) = 'object' then headers else '{}' end as headers,
    body, timeout_milliseconds

-- name: record_response
insert into net._http_response (id, status_code, content_type, headers, content, timed_out, error_msg)
values (
    %(id)s, %(status_code)s, %(content_type)s, %(headers)s, %(content)s, %(timed_out)s, %(error_msg)s
)
