"""From a user's build() to a checked program: record → check → fuse → lower → walk."""
