"""What `yoloscope bench` needs: exported models in processes of their own, measured in turn, their results compared."""
