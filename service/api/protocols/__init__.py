"""Other trainers' protocols, one file each, for trainers that then need no client of ours.

Always true: a file here only translates. Body to `wire.ScoreRequest`, and from then on the path of `POST /v1/score`;
what was judged back to the reply. No reply holds a number in place of a missing verdict unless it says so beside it.
"""
