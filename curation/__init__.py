"""From a photographer's folder to judged photos, aligned faces, crops, tiles and proxies."""
