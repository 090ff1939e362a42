-- KEYS: the open holds by their expiry. ARGV: the time or '', the time to live in microseconds, and the ids in hex.
local until_ = time(ARGV[1]) + tonumber(ARGV[2])
for at = 3, #ARGV do
  redis.call('ZADD', KEYS[1], 'XX', until_, ARGV[at])
end
return 1
