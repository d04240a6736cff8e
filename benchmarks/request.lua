-- Posts one chat completion over and over; arguments: the body, the Authorization header.
-- At the end it writes what was counted as one line of JSON.

function init(arguments)
   wrk.method = "POST"
   wrk.body = arguments[1]
   wrk.headers["Content-Type"] = "application/json"
   wrk.headers["Authorization"] = arguments[2]
end

function done(summary, latency)
   local errors = summary.errors
   io.write(string.format(
      '\n{"requests": %d, "duration_us": %d, "p50_us": %.0f, "p99_us": %.0f, "failed": %d}\n',
      summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
      errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
