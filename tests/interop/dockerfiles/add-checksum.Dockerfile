FROM busybox
ADD --checksum=sha256:1410fe2fd9a62638a6e005995805fbc76678f610a6dd2e4355174a0891c53f23 http://127.0.0.1:8000/file /file
ADD --unpack=true http://127.0.0.1:8000/archive.tar /unpacked/
ADD --unpack=false archive.tar /kept/
