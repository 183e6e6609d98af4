"""Several learners as one group: in threads, in processes and on Ray, sharing rows or policies."""
