"""Other trainers' protocols have one file each here, for trainers that then need no client of ours.

Guarantees: a file here only translates: the body to `wire.ScoreRequest`, which takes the path of `POST /v1/score`, and
the scores back to the reply. No reply holds a number in place of a missing verdict unless a field beside it says so.
"""
