-- A different event with each request, as Smartlead sends them. PACE: milliseconds between two
-- requests of a connection, 0 for as fast as it goes.
local number, thread = 0, 0
local pace = tonumber(os.getenv("PACE") or "0")
local run = os.getenv("RUN") or "0"

function setup(t)
	t:set("id", thread)
	thread = thread + 1
end

-- The text around the two places where an event's own mark goes. The generator shares the processors
-- with what it measures, so a request must cost it little.
local before, between, after

function init()
	local body = '{"event_type":"EMAIL_OPEN","webhook_id":111,"secret_key":"5f0c","stats_id":"MARK' ..
		'","sl_email_lead_id":"3499513771","sl_email_lead_map_id":2433664091,"campaign_id":549768,' ..
		'"campaign_name":"Spring dentists","campaign_status":"ACTIVE","client_id":null,' ..
		'"sequence_number":1,"from_email":"sam@send.example","to_email":"ada@clinic.example",' ..
		'"to_name":"Ada Okoro","subject":"Hello","time_opened":"2026-03-03T09:27:27.234+00:00",' ..
		'"event_timestamp":"2026-03-03T09:27:27.234+00:00","description":"Ada opened e-mail 1",' ..
		'"metadata":{"webhook_created_at":"2026-02-26T10:19:49.535Z"}}'
	local mark = string.rep("m", #next_mark())
	local text = wrk.format("POST", nil, { ["Content-Type"] = "application/json", ["X-Request-Id"] = "MARK" },
		(body:gsub("MARK", mark)))
	before, between, after = text:gsub(mark, "MARK"):match("^(.-)MARK(.-)MARK(.*)$")
end

function next_mark()
	number = number + 1
	return string.format("%s-%s-%09d", run, id, number)
end

function request()
	local mark = next_mark()
	return before .. mark .. between .. mark .. after
end

if pace > 0 then
	function delay()
		return pace
	end
end

function done(summary, latency, requests)
	local bad = summary.errors.status + summary.errors.connect + summary.errors.read +
		summary.errors.write + summary.errors.timeout
	io.write(string.format("RESULT %.1f %.3f %.3f %d %d\n",
		summary.requests / (summary.duration / 1e6), latency:percentile(50) / 1000,
		latency:percentile(99) / 1000, summary.requests, bad))
end
