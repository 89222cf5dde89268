"""`lmpnet train`: learn an LMPNet, network and replica, from class-labelled images."""
