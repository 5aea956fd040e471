-- A different event with each request, as Smartlead sends them. PACE: milliseconds between two
-- requests of a connection, 0 for as fast as it goes.
local number, thread = 0, 0
local pace = tonumber(os.getenv("PACE") or "0")
local run = os.getenv("RUN") or "0"

function setup(t)
	t:set("id", thread)
	thread = thread + 1
end

-- The text around the places where an event's own mark and its time go. The generator shares the
-- processors with what it measures, so a request must cost it little.
local parts = {}
local milliseconds = {}
local second, second_text

function init()
	local body = '{"event_type":"EMAIL_OPEN","webhook_id":111,"secret_key":"5f0c","stats_id":"MARK' ..
		'","sl_email_lead_id":"3499513771","sl_email_lead_map_id":2433664091,"campaign_id":549768,' ..
		'"campaign_name":"Spring dentists","campaign_status":"ACTIVE","client_id":null,' ..
		'"sequence_number":1,"from_email":"sam@send.example","to_email":"ada@clinic.example",' ..
		'"to_name":"Ada Okoro","subject":"Hello","time_opened":"TIME",' ..
		'"event_timestamp":"TIME","description":"Ada opened e-mail 1",' ..
		'"metadata":{"webhook_created_at":"2026-02-26T10:19:49.535Z"}}'
	local mark, time = next_mark(), next_time()
	local text = wrk.format("POST", nil, { ["Content-Type"] = "application/json", ["X-Request-Id"] = "MARK" },
		(body:gsub("MARK", string.rep("m", #mark)):gsub("TIME", string.rep("t", #time))))
	text = text:gsub(string.rep("m", #mark), "MARK"):gsub(string.rep("t", #time), "TIME")
	parts = { text:match("^(.-)MARK(.-)MARK(.-)TIME(.-)TIME(.*)$") }
end

function next_mark()
	number = number + 1
	return string.format("%s-%s-%09d", run, id, number)
end

-- Lua's clock counts seconds; the milliseconds just go on.
function next_time()
	local now = os.time()
	if now ~= second then
		second, second_text = now, os.date("!%Y-%m-%dT%H:%M:%S.", now)
	end
	local ms = number % 1000
	milliseconds[ms] = milliseconds[ms] or string.format("%03d+00:00", ms)
	return second_text .. milliseconds[ms]
end

function request()
	local mark, time = next_mark(), next_time()
	return parts[1] .. mark .. parts[2] .. mark .. parts[3] .. time .. parts[4] .. time .. parts[5]
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
