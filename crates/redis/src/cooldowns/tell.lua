-- Keeps until when deployments are left alone: the later moment counts.
-- KEYS: the sorted set of them. ARGV: before when they are over for all, then of each its id, until when, and for how long.
-- All in milliseconds by the nodes' own clocks: this one's is not asked.
local ttl = redis.call('PTTL', KEYS[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. ARGV[1])
for i = 2, #ARGV, 3 do
  redis.call('ZADD', KEYS[1], 'GT', ARGV[i + 1], ARGV[i])
  ttl = math.max(ttl, tonumber(ARGV[i + 2]))
end
if ttl > 0 then
  redis.call('PEXPIRE', KEYS[1], string.format('%.0f', ttl))
end
