"""One file a paper: the whole method on one screen, as a list of resumable stages that end in a bundle."""
