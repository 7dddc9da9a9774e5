//! Files of a directory as HTTP sees them: which one a path names, its validators, types, ranges and compressed forms.
