"""Acts with policies, one or many at once, and holds their weights; also who plays for whom."""
