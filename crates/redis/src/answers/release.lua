-- Takes a mark away, unless it is another's by now.
-- KEYS: the mark. ARGV: whose it is.
if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('DEL', KEYS[1])
end
