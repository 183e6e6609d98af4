"""Makes and steps environments of one agent, one copy or many, here or in processes of their own."""
