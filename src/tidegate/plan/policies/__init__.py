"""The policies, one file each, all behind the `Planner` port."""
