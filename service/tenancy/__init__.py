"""At the door: who asks, how much they may ask for, and whether they asked before."""
