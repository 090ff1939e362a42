-- Marks a call as made by one node; says whose it is.
-- KEYS: the mark. ARGV: who asks, and for how long in milliseconds.
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then
  return ARGV[1]
end
return redis.call('GET', KEYS[1])
