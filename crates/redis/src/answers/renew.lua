-- Lets a mark last: also one that a server has lost, but not one that another has by now.
-- KEYS: the mark. ARGV: whose it is, and for how long in milliseconds.
local owner = redis.call('GET', KEYS[1])
if not owner or owner == ARGV[1] then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
