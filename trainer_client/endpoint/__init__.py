"""Asks a chat model at an OpenAI-compatible endpoint: for the commands that need a generator, proposer or policy."""

from trainer_client.endpoint.answer import ChatAnswer, Message, TokenLogprob, Usage
from trainer_client.endpoint.chat import ChatEndpoint, Constrain
from trainer_client.endpoint.log import AnswerLog
from trainer_client.endpoint.spending import Prices, Spending

__all__ = [
    "AnswerLog",
    "ChatAnswer",
    "ChatEndpoint",
    "Constrain",
    "Message",
    "Prices",
    "Spending",
    "TokenLogprob",
    "Usage",
]
