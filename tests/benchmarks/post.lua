-- wrk script: POST the body in $BODY with its ######### replaced by another number each time, so that no two requests
-- are the same (or by the numbers in the file $KEYS, one a line, round and round), and look at every answer.
-- An answer is bad when $PATTERN finds no number in it, or one outside of $LOW to $HIGH, or when it has the text $BAD.
local number = tonumber(os.getenv("SEED") or "0")
local pattern, mark = os.getenv("PATTERN"), os.getenv("BAD")
local low, high = tonumber(os.getenv("LOW")), tonumber(os.getenv("HIGH"))
local keys, head, tail, threads = {}, nil, nil, {}
bad, example = 0, ""

function setup(thread) table.insert(threads, thread) end

function init()
  local file = io.open(os.getenv("BODY"))
  wrk.method, wrk.body, wrk.headers["Content-Type"] = "POST", file:read("*a"), "application/json"
  file:close()
  local whole = wrk.format()
  local at = whole:find("#########", 1, true)
  head, tail = whole:sub(1, at - 1), whole:sub(at + 9)
  if os.getenv("KEYS") then
    for line in io.lines(os.getenv("KEYS")) do table.insert(keys, tonumber(line)) end
  end
end

function request()
  number = number + 1
  local key = #keys > 0 and keys[number % #keys + 1] or number % 1000000000
  return head .. string.format("%09d", key) .. tail
end

function response(status, headers, body)
  local value = tonumber(body:match(pattern))
  if value and value >= low and value <= high and not (mark and body:find(mark, 1, true)) then return end
  bad, example = bad + 1, body:sub(1, 200)
end

function done(summary, latency)
  local errors, wrong, seen = summary.errors, 0, ""
  for _, thread in ipairs(threads) do
    wrong = wrong + thread:get("bad")
    if thread:get("example") ~= "" then seen = thread:get("example") end
  end
  io.write(string.format(
    'JSON {"requests": %d, "seconds": %.6f, "p50_ms": %.3f, "p99_ms": %.3f, "max_ms": %.3f, "errors": %d, "bad": %d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    latency.max / 1e3, errors.connect + errors.read + errors.write + errors.timeout, wrong))
  if seen ~= "" then io.write("EXAMPLE " .. seen:gsub("[\r\n]", " ") .. "\n") end
end
