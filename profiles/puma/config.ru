large = "x" * (1 << 20)
run lambda { |env|
  body = env["PATH_INFO"] == "/large" ? large : "hello from Puma\n"
  [200, { "content-type" => "text/plain", "content-length" => body.bytesize.to_s }, [body]]
}
