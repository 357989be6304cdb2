"""Small experiments that defined online meta-gradients, each a script that leaves data and a picture."""
