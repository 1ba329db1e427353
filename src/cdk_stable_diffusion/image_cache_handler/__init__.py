"""The Lambda functions behind `ImageCache`: they start builds, wait for them, and tidy up."""
