"""Ranks that have policies of their own, and are lost and made anew one by one."""
