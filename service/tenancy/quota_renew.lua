-- ARGV: keep (milliseconds), seconds until the reservations expire, ids...
-- XX: what has expired meanwhile stays out.
local now = times()
for n = 3, #ARGV do redis.call('ZADD', KEYS[2], 'XX', now + tonumber(ARGV[2]), ARGV[n]) end
keep(ARGV[1])
return 1
