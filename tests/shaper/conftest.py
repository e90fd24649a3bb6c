"""What these tests share with those of the sniffer: that nothing is left over."""
