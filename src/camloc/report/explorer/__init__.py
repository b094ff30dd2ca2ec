"""Every image of a report to look at: thumbnails with boxes at every CAM threshold, from files beside the page."""
