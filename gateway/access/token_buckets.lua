-- Takes from the buckets of several requests in order: from all buckets of a request or from none.
--
-- KEYS  the buckets of the first request, of the second, and so on
-- ARGV  JSON: for each request a list of its buckets, each as [capacity, cost, microseconds in
--       which it fills]
-- Returns two numbers of microseconds for each bucket: the time until it has enough (0 if it has),
-- and the time until it is full.
--
-- A bucket is stored as the time at which it will be full.

local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local found, key = {}, 0

for _, asked in ipairs(cjson.decode(ARGV[1])) do
    local admitted, buckets = true, {}
    for i, bucket in ipairs(asked) do
        local name, capacity, cost, fills_in = KEYS[key + i], bucket[1], bucket[2], bucket[3]
        local full_at = math.max(tonumber(redis.call('GET', name) or 0), now)
        local then_full_at = full_at + cost * fills_in / capacity
        -- One microsecond of grace, since the divisions round.
        local wait = math.max(then_full_at - now - fills_in - 1, 0)
        admitted = admitted and wait == 0
        buckets[i] = {name, wait, full_at, then_full_at}
    end
    key = key + #asked
    for _, bucket in ipairs(buckets) do
        local name, wait, full_at, then_full_at = unpack(bucket)
        if admitted then
            full_at = then_full_at
            local lifetime_ms = math.ceil((full_at - now) / 1000)
            redis.call('SET', name, string.format('%.3f', full_at), 'PX', lifetime_ms + 1)
        end
        found[#found + 1] = math.ceil(wait)
        found[#found + 1] = math.floor(full_at - now)
    end
end
return found
