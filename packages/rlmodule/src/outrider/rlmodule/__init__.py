"""Networks, action distributions and policy export of Outrider."""
