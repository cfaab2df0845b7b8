-- ARGV: now (seconds), keep (milliseconds), seconds until the reservations expire, ids...
-- XX: what has expired meanwhile stays out.
local now = times(ARGV[1])
for n = 4, #ARGV do redis.call('ZADD', KEYS[2], 'XX', now + tonumber(ARGV[3]), ARGV[n]) end
keep(ARGV[2])
return 1
