"""The thin client of a rubricd judge: `client.JudgeClient` asks, `data.read_items` reads, `wire` is the contract.

Always true: importing any of these needs httpx and pydantic only. Nothing is re-exported here, so that the service can
import the contract without the rest.
"""
