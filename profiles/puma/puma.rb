bind "ssl://@host@:@port@?cert=@cert@&key=@key@&verify_mode=none"
persistent_timeout @idle@
first_data_timeout @idle@
threads 4, 16
environment "production"
log_requests false
