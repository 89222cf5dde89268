"""`lmpnet viz-filters`: the full-scale filter visualisation (LMPNet, section 3.2, figures 4 and 5)."""
