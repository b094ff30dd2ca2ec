"""Attribution: feature maps and class weights in, class activation maps and score maps out."""
