"""Both stages of training: the portrait prior, and the restorer that stands on it."""
