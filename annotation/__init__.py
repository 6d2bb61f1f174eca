"""Questions out to photographers, answers back in: Label Studio, merged without loss."""
