-- KEYS: the open holds by their expiry. ARGV: the time or '', and the most that are told. Gives the ids of those that have expired.
return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', time(ARGV[1]), 'LIMIT', 0, ARGV[2])
