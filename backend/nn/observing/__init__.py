"""What a training shows of itself in plain torch: gradients, updates, movement, lost numbers.

Nothing here changes what is trained: no random number is drawn and no tensor of it is written.
"""
