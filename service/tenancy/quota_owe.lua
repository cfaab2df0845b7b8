-- ARGV: keep (milliseconds), seconds used, seconds a minute.
-- Charges what was used, also where that is more than is left. Returns the seconds, as a string, until the bucket is
-- above 0 again: '0' where it is.
local now, before = times()
local used, per_minute = tonumber(ARGV[2]), tonumber(ARGV[3])
local left = tonumber(redis.call('HGET', KEYS[1], 'left') or per_minute)
left = math.min(per_minute, left + (now - before) * per_minute / 60) - used
redis.call('HSET', KEYS[1], 'left', string.format('%.17g', left), 'at', string.format('%.17g', now))
-- What is owed must not be forgotten before it has come in.
local full = math.ceil((per_minute - left) * 60000 / per_minute)
keep(string.format('%d', math.min(math.max(tonumber(ARGV[1]), full), 86400000)))
return string.format('%.17g', math.max(0, -left * 60 / per_minute))
