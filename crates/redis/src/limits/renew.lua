-- KEYS: the clock, and places of calls that run. ARGV: the time or '', the lease in microseconds; then the place of a key among KEYS
-- and an id, for each.
local now = clock(ARGV[1])
local lease = tonumber(ARGV[2])
local ms = math.ceil(lease / 1000) + 1000
for at = 3, #ARGV, 2 do
  local key, id = KEYS[tonumber(ARGV[at])], ARGV[at + 1]
  local until_ = tonumber(redis.call('ZSCORE', key, id))
  -- One whose lease is over may have been given to another call.
  if until_ and until_ > now then
    redis.call('ZADD', key, now + lease, id)
    if redis.call('PTTL', key) < ms then
      redis.call('PEXPIRE', key, ms)
    end
  end
end
return 1
